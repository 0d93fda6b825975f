"""Signing in by OpenID Connect: the authorisation code flow with PKCE, state and nonce, by Authlib.

What comes back is a session like any other. Leaves to others: what a claim allows (`bot.access.oidc`).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, cast

import httpx
import structlog
from fastapi import FastAPI, Request
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response
from starlette.routing import Route, request_response

from bot.access.oidc import PLATFORM, Grant, granted, grants_of
from bot.console import texts
from bot.console.access import OIDC
from bot.console.sign_in import Door
from bot.core import Core
from feedback import consent, journal, sign_in
from feedback.errors import SettingsError
from feedback.sign_in import Identity

if TYPE_CHECKING:
    from bot.settings import OidcSettings

STATE_FOR_S: Final = 600
"""How long somebody may take at the provider."""

log = structlog.get_logger(__name__)


def serve_oidc(app: FastAPI, core: Core, door: Door, settings: OidcSettings, *, secure: bool) -> None:
    """Let `app` sign people in whom the settings' provider vouches for. Raises SettingsError."""
    try:
        from authlib.integrations.base_client import OAuthError
        from authlib.integrations.starlette_client import OAuth
        from joserfc.errors import JoseError
    except ImportError as error:
        raise SettingsError(
            "The setting oidc.issuer asks for OpenID Connect, and Authlib is not installed.",
            "pip install 'thumbloop[oidc]', or leave oidc.issuer empty.",
        ) from error
    grants = grants_of(settings.roles)
    provider = OAuth().register(
        "oidc",
        server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        client_kwargs={"scope": settings.scope, "code_challenge_method": "S256"},
    )

    async def leave(request: Request) -> Response:
        try:
            return cast(
                Response, await provider.authorize_redirect(request, f"{core.console_url}{OIDC}/back")
            )
        except (OAuthError, httpx.HTTPError) as error:
            log.error("the OpenID Connect provider cannot be asked", why=str(error))
            return door.refuse(request, texts.OIDC_AWAY, status=502)

    async def come_back(request: Request) -> Response:
        if not door.may_try(request):
            return door.page(request, texts.SIGN_IN_TOO_OFTEN, status=429)
        try:
            token = await provider.authorize_access_token(request)
            claims = dict(token["userinfo"])
            if settings.claim not in claims:  # some providers keep groups out of the token
                told = await provider.userinfo(token=token)
                claims = dict(told) if told["sub"] == claims["sub"] else claims
        except (OAuthError, JoseError, httpx.HTTPError, KeyError) as error:
            log.warning("a sign-in by OpenID Connect was refused", why=type(error).__name__)
            return door.refuse(request, texts.OIDC_REFUSED)
        given = granted(grants, claims, settings.claim)
        if given is None:
            return door.refuse(request, texts.OIDC_NO_ROLE)
        return await door.open(request, await _issued(core, given, str(claims["sub"])))

    for path, answer in (("go", leave), ("back", come_back)):
        keeping_state = SessionMiddleware(
            request_response(answer),
            secret_key=hmac.digest(core.pseudonym_key, b"oidc state", "sha256").hex(),
            session_cookie="thumbloop_oidc",
            max_age=STATE_FOR_S,
            https_only=secure,
        )
        app.router.routes.append(Route(f"{OIDC}/{path}", keeping_state, methods=["GET"]))


async def _issued(core: Core, given: Grant, subject: str) -> str:
    """The token of a link for that person; in a community they are one of its platform's people."""
    platform = given.platform or PLATFORM
    pseudonym = consent.pseudonym(given.platform or "web", f"oidc {subject}", core.pseudonym_key)
    async with core.database.session() as session:
        community = (
            await journal.community(session, given.platform, given.community) if given.platform else None
        )
        return await sign_in.issue_link(
            session, Identity(platform, pseudonym, given.role, community.id if community else None)
        )
