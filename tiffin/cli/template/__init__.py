"""Go's text/template as `--format` has it, over the API's documents.

`engine` runs what `lexer` and `parser` have read; `functions` are what a template may call. The
rest is what it works on: Go's types (`gotypes`, by the tables of `apitypes`), values of them
(`govalues`, with the methods of `gomethods`), and how Go prints them.
"""
