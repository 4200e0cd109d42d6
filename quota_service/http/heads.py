"""The bytes of an answer: a status line and headers that answers of one kind share for a second."""

import time
from email.utils import formatdate
from http import HTTPStatus

from aiohttp.http import SERVER_SOFTWARE

from quota_service.http.request_id import REQUEST_ID_HEADER
from quota_service.http.response import Headers, Response


class Heads:
    """Makes the bytes of answers, one for each process."""

    def __init__(self) -> None:
        self._second = 0
        self._heads: dict[tuple[int, str], str] = {}

    def bytes_of(
        self, response: Response, request_id: str, *, is_last: bool, more: Headers = ()
    ) -> bytes:
        """Return an answer as it goes over the wire, with more headers; the last one says so."""
        head = self._head(response.status, response.content_type if response.body else "")
        for name, value in (*response.headers, *more):
            head += f"{name}: {value}\r\n"
        if response.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            head += f"Content-Length: {len(response.body)}\r\n"
        if is_last:
            head += "Connection: close\r\n"
        return f"{head}{REQUEST_ID_HEADER}: {request_id}\r\n\r\n".encode() + response.body

    def _head(self, status: int, content_type: str) -> str:
        second = int(time.time())
        if second != self._second:
            self._heads.clear()
            self._second = second
        head = self._heads.get((status, content_type))
        if head is None:
            date = formatdate(second, usegmt=True)
            line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
            head = f"{line}\r\nDate: {date}\r\nServer: {SERVER_SOFTWARE}\r\n"
            if content_type:
                head += f"Content-Type: {content_type}\r\n"
            self._heads[status, content_type] = head
        return head
