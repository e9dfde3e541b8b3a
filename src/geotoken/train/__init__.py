"""Training: from a feature store to a model folder.

Owns the stages and what they share; must not know command lines.
"""
