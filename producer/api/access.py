"""Who may call what: a dependency per scope."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from producer.api.keys import Keyring, Scope

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="a key made by `trace-ocr api-key`")),
]


def requires(scope: Scope, keyring: Keyring) -> Callable[[HTTPAuthorizationCredentials | None], None]:
    """Return the dependency that lets a request in: 401 without a valid key, 403 without the scope."""

    def check(credentials: Credentials) -> None:
        if not keyring.required:
            return
        holder = keyring.holder(credentials.credentials) if credentials else None
        if holder is None:
            raise HTTPException(
                401,
                "send a valid key: Authorization: Bearer <key>",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if scope not in holder.scopes:
            raise HTTPException(403, f"the key {holder.name} lacks the scope {scope}")

    return check
