"""The study's figures and tables, one module per question."""
