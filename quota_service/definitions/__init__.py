"""Exam definitions: one model for TOML and JSON files, `PUT` and what Postgres keeps.

`model` says what a definition is, of the types in `fields`; `reading` turns a document into an
`Exam` or the full list of problems; `files` reads documents from files.
"""
