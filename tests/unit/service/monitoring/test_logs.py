import json
import logging
import logging.config
import sys

from service.monitoring.logs import JsonFormatter, log_config, request_id


def format_record(**fields: object) -> dict[str, object]:
    record = logging.makeLogRecord(
        {"name": "opal", "levelname": "INFO", "msg": "hello %s", **fields}
    )
    line: dict[str, object] = json.loads(JsonFormatter().format(record))
    return line


def test_a_line_is_one_json_object_with_the_request() -> None:
    token = request_id.set("abc")
    line = format_record(args=("you",), route="/match")
    request_id.reset(token)

    assert line["message"] == "hello you"
    assert (line["level"], line["logger"], line["request_id"]) == ("info", "opal", "abc")
    assert line["route"] == "/match"
    assert str(line["time"]).endswith("+00:00")


def test_outside_a_request_there_is_no_request_id() -> None:
    assert "request_id" not in format_record(args=("you",))


def test_a_traceback_stays_on_the_line() -> None:
    line = {}
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        line = format_record(args=("you",), exc_info=sys.exc_info())

    assert "ZeroDivisionError" in str(line["error"])


def test_the_configuration_is_one_that_logging_takes() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logging.config.dictConfig(log_config("warning"))
        assert root.level == logging.WARNING
        assert isinstance(root.handlers[0].formatter, JsonFormatter)
    finally:
        root.handlers, root.level = before
