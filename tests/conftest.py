"""What all tests share: property tests explore anew on a developer's machine, and repeat themselves in CI."""

import os

from hypothesis import settings

# A single example may be slow on a machine that is busy with others.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("developer", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "developer")
