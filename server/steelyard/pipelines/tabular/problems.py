"""The rules that rows of a table break, by the names under which they are counted."""

# The rules of the JSON reader by its numbers, each with what it expects.
JSON_RULES: tuple[tuple[str, str], ...] = (
    ("utf8", "UTF-8"),
    ("json", "one JSON object, with no NaN or infinity and at most 32 levels deep"),
    ("unknown_key", "only keys that are columns"),
    ("duplicate_key", "the key once"),
    ("missing_key", "the key to be there"),
    ("type", ""),
    ("range", ""),
    ("whole", "a whole number"),
    ("date", "a date such as 2027-03-31 or 2027-03-31T08:30:00Z"),
)

RULES = frozenset(name for name, _ in JSON_RULES) | {"finite", "missing", "unknown_category"}
