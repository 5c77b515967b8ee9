"""From log records to tables: `slices` of features, rows and columns made of them, and frames of several libraries."""
