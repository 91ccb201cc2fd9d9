"""One bounded reading over the files of a log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from agent.collectors.values import Rows
from agent.logs.csvlog import CsvParser
from agent.logs.entry import redacted
from agent.logs.files import LogFile
from agent.logs.jsonlog import JsonParser
from agent.logs.mark import FileMark, moved
from agent.logs.parser import Dialect, Form, Parser, ParserFactory
from agent.logs.stderr import StderrParser

_PARSERS: Mapping[Form, ParserFactory] = {Form.JSON: JsonParser, Form.CSV: CsvParser, Form.STDERR: StderrParser}


class FileRun:
    """Collects rows file by file until a limit is reached.

    `sizes` is how long each file was at the end of the reading before: a file that is still as long is at rest.
    """

    def __init__(self, dialect: Dialect, limit_rows: int, limit_bytes: int, sizes: Mapping[str, int]) -> None:
        self._dialect = dialect
        self._limit_rows = limit_rows
        self._limit_bytes = limit_bytes
        self._sizes_before = sizes
        self._bytes = 0
        self.rows: Rows = []
        self.marks: dict[str, FileMark] = {}
        self.sizes: dict[str, int] = {}
        self.finished: set[tuple[int, int]] = set()
        self.more = False

    def _full(self) -> bool:
        # At least one row: an entry longer than the limit must not be read for ever.
        return len(self.rows) >= self._limit_rows or (self._bytes >= self._limit_bytes and bool(self.rows))

    def read(self, file: LogFile, place: FileMark, *, newest: bool) -> None:
        size = file.size
        if self._full():
            self.more = self.more or place.position < size
            return
        at_rest = self._sizes_before.get(place.file_id) == size
        parser = _PARSERS[file.form](self._dialect)
        end = place.position
        with closing(file.lines(place.position, size, unfinished=at_rest and not newest)) as lines:
            for line in lines:
                parser.feed(line)
                self._bytes += line.end - line.position
                end = line.end
                self._take(parser, place.file_id)
                if self._full():
                    break
            else:
                self.sizes[place.file_id] = size
                if at_rest:
                    parser.rest(over=not newest)
                    self._take(parser, place.file_id)
        kept_from = parser.kept_from()
        position = end if kept_from is None else kept_from
        self.marks[place.file_id] = moved(file, place, position)
        self.more = self.more or (self._full() and position < size)
        if at_rest and position == size:
            self.finished.add(file.key)

    def _take(self, parser: Parser, file_id: str) -> None:
        while len(self.rows) < self._limit_rows and (written := parser.take()) is not None:
            self.rows.append(redacted(written, english=self._dialect.english).row(file_id))
