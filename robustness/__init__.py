"""Attacks on a served ensemble, and what they tell about its robustness."""
