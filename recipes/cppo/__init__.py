"""CPPO, arXiv 2503.22342. Run: python -m recipes.cppo.main."""
