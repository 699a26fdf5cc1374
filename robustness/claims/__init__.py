"""Claims: adversarial images that anybody has found, judged."""
