"""The statements of the study and of the other sources, one module per lens."""
