"""Images in, views out: sources, prepared datasets, subsets, corruptions and augmentation.

The lowest layer: it imports neither ``ssl_core`` nor ``sweep``, and neither Ray nor MLflow. Both may import
it.
"""

__all__ = [
    "contact_sheet",
    "dataset",
    "errors",
    "hashing",
    "images",
    "preparation",
    "sources",
    "synthetic",
    "views",
]
