"""Samples for training with PyTorch: rows of tables and files of a version, at random or as a stream.

`order` says which sample comes when, and knows neither torch nor data; `sources` reads rows and files;
`columns` makes tensors; `rows` and `stream` are what a `DataLoader` takes. `make` is where it begins.
"""
