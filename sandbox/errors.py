"""Refusals in the gateway's own words and shape."""

from __future__ import annotations

from http import HTTPStatus


class GatewayError(Exception):
    """A refusal as the gateway words it; `status` is the HTTP status, `field` the input at fault if there is one."""

    def __init__(
        self,
        description: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        code: str = "BAD_REQUEST_ERROR",
        field: str | None = None,
    ) -> None:
        """Keep what the answer needs; an error about a field is an input error, any other names no step."""
        super().__init__(description)
        self.description = description
        self.status = int(status)
        self.code = code
        self.field = field

    def body(self) -> dict[str, object]:
        """Give the JSON body that the gateway answers with."""
        error: dict[str, object] = {"code": self.code, "description": self.description}
        if self.field is None:
            error |= {"source": "NA", "step": "NA", "reason": "NA", "metadata": {}}
        else:
            error |= {
                "source": "business",
                "step": "payment_initiation",
                "reason": "input_validation_failed",
                "metadata": {},
                "field": self.field,
            }
        return {"error": error}


def unknown_id() -> GatewayError:
    """Say that an id belongs to nothing the gateway knows."""
    return GatewayError("The id provided does not exist")


def unknown_url() -> GatewayError:
    """Say that no operation answers at this path and method."""
    return GatewayError("The requested URL was not found on the server.")


def authentication_failed() -> GatewayError:
    """Say that the key or its secret is wrong."""
    return GatewayError("Authentication failed", status=HTTPStatus.UNAUTHORIZED)


def failure(status: int) -> GatewayError:
    """Build the error that the gateway's own trouble looks like: its code follows from the HTTP status."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return GatewayError("Request failed. Please try after sometime.", status=status)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return GatewayError("The request could not be processed.", status=status)
    if status in {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}:
        text = "Your payment could not be completed due to a temporary technical issue."
        return GatewayError(text, status=status, code="GATEWAY_ERROR")
    text = "We are facing some trouble completing your request at the moment. Please try again shortly."
    return GatewayError(text, status=status, code="SERVER_ERROR")
