"""Sorted maps as trees of content-split nodes: build, read, update, compare.

The same rows give the same nodes, whatever the order of the updates that led to them, so equal
parts of two trees are equal nodes and are stored, compared and moved once.
"""
