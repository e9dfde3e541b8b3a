"""Photo files in, pixels and image vectors out.

Owns reading and the frozen encoder; must not know galleries or models of places.
"""
