"""From a grid file to results: planning, store, execution on Ray, tracking."""
