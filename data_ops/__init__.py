"""Images in, views out: sources, subsets, corruptions, augmentation. Imports neither Ray nor MLflow."""
