"""CoPRIS, arXiv 2511.05589. Run: python -m recipes.copris.main."""
