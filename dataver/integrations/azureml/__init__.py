"""Azure Machine Learning: versions as data assets, and jobs that are pinned to them by digest."""
