"""The library that is deployed with the functions: sources, sinks, state, and the two verbs capture and deliver."""
