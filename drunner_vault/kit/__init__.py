"""The recovery kit: a page to be printed, with which a person who has lost a host gets its services back.

what goes on it (sheet) → codes to scan (codes) → one HTML file that needs nothing else (page)

Knows nothing of stores, archives and keys: whoever calls says what is to be printed.
"""
