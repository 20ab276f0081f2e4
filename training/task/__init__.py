"""Model folder and page of a training in epochs, straight from a cohort."""
