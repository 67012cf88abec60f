"""PostgreSQL's binary formats as the text that PostgreSQL itself would print.

``cursor``      checked reads, and the two bounds (depth and output)
``scalars``     numbers, strings of bytes and bits, geometry, networks
``times``       dates, times and intervals
``containers``  arrays, composites, ranges
"""
