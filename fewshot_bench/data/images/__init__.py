"""Image files decoded into arrays, and what is reported where that loses something. Imports `data.files`, `data.dataset`,
`threads` and `errors`.
"""
