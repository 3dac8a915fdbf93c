"""Evaluation protocols on extracted features, one module each."""
