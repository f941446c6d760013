"""What each hyper-parameter means: the comment beside it, where a reader of the source finds it too."""

import ast
import inspect
import io
import textwrap
import tokenize


def meanings(hparams: type) -> dict[str, str]:
    """The comment at the end of each field's line, by name, for a class and its bases. A field without a comment is left
    out, as is a class whose source cannot be read."""
    found: dict[str, str] = {}
    for cls in reversed(inspect.getmro(hparams)[:-1]):
        try:
            source = textwrap.dedent(inspect.getsource(cls))
            (parsed,) = ast.parse(source).body
        except (
            OSError,
            TypeError,
            SyntaxError,
        ):  # make_dataclass leaves no source, or it cannot stand alone
            continue
        assert isinstance(parsed, ast.ClassDef)
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
        for field in parsed.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.end_lineno in comments:
                found[field.target.id] = comments[field.end_lineno].lstrip("# ")
    return found
