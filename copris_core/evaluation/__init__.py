"""What an accuracy or a speed-up is worth: intervals and comparisons. Numpy in, numbers out."""
