"""The request that a result was made by, as far as no specification holds it: what a record stores of it."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from fewshot_bench.request import Request, TestRequest, options

KEY = r"[A-Za-z_][\w.-]{0,199}"
"""The form of a key of `--set`."""
MOST_KEYS = 200
Key = Annotated[str, Field(pattern=f"^{KEY}$")]


class StoredRequest(BaseModel):
    """Who asked, and the fields of a request that are `kept`. Never a value that decides a number, nor a folder: of settings
    the keys alone, whose values the specifications hold."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    by: Literal["run", "test"] = "run"
    recipe: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    settings: Annotated[tuple[Key, ...], Field(max_length=MOST_KEYS, strict=False)] = ()
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    images: PositiveInt | None = None
    keep: Literal["predictions"] | None = None

    @classmethod
    def of(cls, request: Request | TestRequest, settings: Iterable[str] | None = None) -> Self:
        """What is stored of a request whose `settings` (`key=value`) are its own, or else these."""
        kept = {name: getattr(request, name) for name, option in options(type(request)).items() if option.kept}
        keys = (one.partition("=")[0].strip() for one in (request.settings if settings is None else settings))
        named = tuple(dict.fromkeys(key for key in keys if re.fullmatch(KEY, key)))[:MOST_KEYS]
        return cls.model_validate(kept | {"by": request.command, "settings": named})

    @classmethod
    def in_result(cls, result: Mapping[str, Any]) -> Self:
        """What a result of a record holds; an older one holds nothing, and its command says what the specs alone say."""
        return cls.model_validate(result.get("request", {}))

    def as_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        return self.model_dump(mode="json", exclude_none=True)
