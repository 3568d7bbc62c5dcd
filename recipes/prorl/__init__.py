"""ProRL, arXiv 2505.24864. Run: python -m recipes.prorl.main."""
