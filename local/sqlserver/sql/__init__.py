"""T-SQL: tokens, syntax tree, and its translation to SQLite with T-SQL's types."""
