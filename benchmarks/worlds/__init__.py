"""Worlds whose truth is known, to train on: photos are drawn from a stated model of location.

Owns the generators, their exact answers and their photos as training cases; must not know who is trained.
"""
