"""Finding and drawing figures, and the report made of them."""
