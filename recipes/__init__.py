"""One folder a recipe: how to run it alone, and what it is."""
