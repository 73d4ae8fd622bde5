"""What Temporal's server is given to store, read back as bytes: ciphertext, whatever the workflow does."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RetryPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, WorkflowSerializationContext
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from adapters.settings import NamedKey, parse_keys
from adapters.temporal.codec import ENCODING, KEY_ID_FIELD, CodecError, EncryptionCodec, data_converter
from sandbox.servers.stack import Addresses

OLD = NamedKey("2026-01", bytes(range(32)))
NEW = NamedKey("2026-07", bytes(range(1, 33)))

CANARIES = {
    "argument": "canary-argument-asha",
    "activity argument": "canary-activity-argument",
    "activity result": "canary-activity-result",
    "local result": "canary-local-result",
    "activity failure": "canary-activity-failure",
    "failure detail": "canary-failure-detail",
    "workflow failure": "canary-workflow-failure",
    "activity summary": "canary-activity-summary",
    "timer summary": "canary-timer-summary",
    "static summary": "canary-static-summary",
    "static details": "canary-static-details",
    "memo": "canary-memo",
    "upserted memo": "canary-upserted-memo",
    "signal": "canary-signal",
    "update": "canary-update",
    "update result": "canary-update-answer",
    "result": "canary-result",
}


class Visit(BaseModel):
    words: str


@activity.defn
async def tell(visit: Visit) -> Visit:
    assert visit.words == CANARIES["activity argument"]
    return Visit(words=CANARIES["activity result"])


@activity.defn
async def tell_locally() -> str:
    return CANARIES["local result"]


@activity.defn
async def refuse() -> None:
    raise ApplicationError(CANARIES["activity failure"], CANARIES["failure detail"], type="refused")


@workflow.defn
class Talkative:
    """Puts a word into every place in which a history can keep one."""

    def __init__(self) -> None:
        self._heard: list[str] = []

    @workflow.run
    async def run(self, visit: Visit) -> Visit:
        assert visit.words == CANARIES["argument"]
        seconds = timedelta(seconds=10)
        await workflow.execute_activity(
            tell,
            Visit(words=CANARIES["activity argument"]),
            start_to_close_timeout=seconds,
            summary=CANARIES["activity summary"],
        )
        await workflow.execute_local_activity(tell_locally, start_to_close_timeout=seconds)
        once = RetryPolicy(maximum_attempts=1)
        try:
            await workflow.execute_activity(refuse, start_to_close_timeout=seconds, retry_policy=once)
        except ActivityError as error:
            cause = error.cause
            assert isinstance(cause, ApplicationError)
            assert (cause.message, list(cause.details)) == (CANARIES["activity failure"], [CANARIES["failure detail"]])
        await workflow.sleep(timedelta(milliseconds=1), summary=CANARIES["timer summary"])
        workflow.upsert_memo({"more": CANARIES["upserted memo"]})
        await workflow.wait_condition(lambda: len(self._heard) == 2)
        return Visit(words=CANARIES["result"])

    @workflow.signal
    def hear(self, words: str) -> None:
        self._heard.append(words)

    @workflow.update
    def answer(self, words: str) -> str:
        self._heard.append(words)
        return CANARIES["update result"]


@workflow.defn
class Failing:
    """Fails with words."""

    @workflow.run
    async def run(self) -> None:
        raise ApplicationError(CANARIES["workflow failure"], CANARIES["failure detail"], type="refused")


@workflow.defn
class Patient:
    """Stays open until it is told to end, with what it was given."""

    def __init__(self) -> None:
        self._ended = False

    @workflow.run
    async def run(self, visit: Visit) -> Visit:
        await workflow.wait_condition(lambda: self._ended)
        return visit

    @workflow.signal
    def end(self) -> None:
        self._ended = True


RUNNER = SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules("tests", "pydantic"))


@asynccontextmanager
async def serving(servers: Addresses, converter: DataConverter, queue: str) -> AsyncIterator[Client]:
    client = await Client.connect(
        servers.temporal_address, namespace=servers.temporal_namespace, data_converter=converter
    )
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[Talkative, Failing, Patient],
        activities=[tell, tell_locally, refuse],
        workflow_runner=RUNNER,
    )
    async with worker:
        yield client


async def stored(client: Client, workflow_id: str) -> bytes:
    """Everything that the server gives out about a workflow, as it came over the wire."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    history = await client.workflow_service.get_workflow_execution_history(
        GetWorkflowExecutionHistoryRequest(namespace=client.namespace, execution=execution)
    )
    assert not history.next_page_token
    described = await client.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
    )
    return history.SerializeToString() + described.SerializeToString()


async def everything_said(servers: Addresses, converter: DataConverter) -> bytes:
    queue = f"codec-{uuid4().hex[:8]}"
    async with serving(servers, converter, queue) as client:
        talkative = await client.start_workflow(
            Talkative.run,
            Visit(words=CANARIES["argument"]),
            id=f"talkative-{queue}",
            task_queue=queue,
            memo={"some": CANARIES["memo"]},
            static_summary=CANARIES["static summary"],
            static_details=CANARIES["static details"],
        )
        await talkative.signal(Talkative.hear, CANARIES["signal"])
        assert await talkative.execute_update(Talkative.answer, CANARIES["update"]) == CANARIES["update result"]
        assert (await talkative.result()).words == CANARIES["result"]
        failing = await client.start_workflow(Failing.run, id=f"failing-{queue}", task_queue=queue)
        with pytest.raises(WorkflowFailureError) as failure:
            await failing.result()
        assert isinstance(failure.value.cause, ApplicationError)
        assert failure.value.cause.message == CANARIES["workflow failure"]
        return await stored(client, talkative.id) + await stored(client, failing.id)


async def test_nothing_that_a_workflow_says_is_stored_in_clear(servers: Addresses) -> None:
    clear = await everything_said(servers, pydantic_data_converter)
    missing = {place for place, words in CANARIES.items() if words.encode() not in clear}
    assert missing == set(), "the search would not have found these words if they were in clear"
    sealed = await everything_said(servers, data_converter([NEW]))
    assert {place for place, words in CANARIES.items() if words.encode() in sealed} == set()
    assert b"Encoded failure" in sealed
    assert b"test_codec.py" in clear
    assert b"test_codec.py" not in sealed, "a stack trace is in clear"


async def test_a_workflow_that_began_under_the_old_key_goes_on_under_the_new_one(servers: Addresses) -> None:
    queue = f"rotation-{uuid4().hex[:8]}"
    async with serving(servers, data_converter([OLD]), queue) as client:
        handle = await client.start_workflow(
            Patient.run, Visit(words="since January"), id=f"patient-{queue}", task_queue=queue
        )
        await until(lambda: began(client, handle.id))
    async with serving(servers, data_converter([NEW, OLD]), queue) as client:
        await client.get_workflow_handle(handle.id).signal(Patient.end)
        assert await result(client, handle.id) == "since January"
        history = await stored(client, handle.id)
    assert OLD.id.encode() in history
    assert NEW.id.encode() in history
    only_new = await Client.connect(
        servers.temporal_address, namespace=servers.temporal_namespace, data_converter=data_converter([NEW])
    )
    assert await result(only_new, handle.id) == "since January"
    only_old = await Client.connect(
        servers.temporal_address, namespace=servers.temporal_namespace, data_converter=data_converter([OLD])
    )
    with pytest.raises(CodecError, match=NEW.id):
        await result(only_old, handle.id)


async def result(client: Client, workflow_id: str) -> str:
    visit: Visit = await client.get_workflow_handle(workflow_id, result_type=Visit).result()
    return visit.words


async def began(client: Client, workflow_id: str) -> bool:
    described = await client.get_workflow_handle(workflow_id).describe()
    return described.history_length >= 4


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    give_up = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < give_up, "the condition never held"
        await asyncio.sleep(0.05)


# The codec by itself


async def sealed_by(key: NamedKey, words: str = "words") -> Payload:
    [payload] = await data_converter([key]).encode([Visit(words=words)])
    return payload


@given(words=st.text(), numbers=st.lists(st.integers()))
async def test_what_goes_in_comes_out(words: str, numbers: list[int]) -> None:
    converter = data_converter([NEW, OLD])
    payloads = await converter.encode([Visit(words=words), numbers, None])
    assert all(payload.metadata["encoding"] == ENCODING for payload in payloads)
    assert await converter.decode(payloads, [Visit, list[int], type(None)]) == [Visit(words=words), numbers, None]


async def test_the_newest_key_encodes_and_the_id_in_the_metadata_decodes() -> None:
    rotated = data_converter([NEW, OLD])
    old, new = await sealed_by(OLD), (await rotated.encode([Visit(words="words")]))[0]
    assert (old.metadata[KEY_ID_FIELD], new.metadata[KEY_ID_FIELD]) == (OLD.id.encode(), NEW.id.encode())
    assert await rotated.decode([old, new], [Visit, Visit]) == [Visit(words="words")] * 2
    assert await data_converter([OLD, NEW]).decode([new], [Visit]) == [Visit(words="words")]


async def test_the_same_words_never_look_the_same() -> None:
    first, second = await sealed_by(NEW), await sealed_by(NEW)
    assert first.data != second.data
    assert set(first.metadata) == {"encoding", KEY_ID_FIELD}


async def test_a_key_that_is_gone_is_named() -> None:
    with pytest.raises(CodecError, match=OLD.id):
        await EncryptionCodec([NEW]).decode([await sealed_by(OLD)])


async def test_another_key_under_the_same_id_and_a_changed_payload_do_not_open() -> None:
    payload = await sealed_by(NEW, "canary-words")
    impostor = NamedKey(NEW.id, OLD.key)
    changed, moved = Payload(), Payload()
    changed.CopyFrom(payload)
    changed.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    moved.CopyFrom(payload)
    moved.metadata[KEY_ID_FIELD] = b"twin"
    short = Payload(metadata=payload.metadata, data=b"short")
    for codec, hostile in (
        (EncryptionCodec([impostor]), payload),
        (EncryptionCodec([NEW]), changed),
        (EncryptionCodec([NEW, NamedKey("twin", NEW.key)]), moved),
        (EncryptionCodec([NEW]), short),
    ):
        with pytest.raises(CodecError) as refusal:
            await codec.decode([hostile])
        assert "canary" not in str(refusal.value)


async def test_what_was_never_sealed_is_passed_on() -> None:
    [plain] = await pydantic_data_converter.encode(["from an operator"])
    assert await EncryptionCodec([NEW]).decode([plain]) == [plain]


def test_a_codec_without_a_key_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        EncryptionCodec([])


async def test_the_setting_s_keys_are_the_codec_s_keys() -> None:
    setting = ",".join(f"{key.id}:{base64.b64encode(key.key).decode()}" for key in (NEW, OLD))
    assert parse_keys(setting, "codec key") == (NEW, OLD)
    [payload] = await data_converter(parse_keys(setting, "codec key")).encode(["words"])
    assert payload.metadata[KEY_ID_FIELD] == NEW.id.encode()


def test_no_part_of_the_conversion_asks_whose_a_payload_is() -> None:
    """The workers' sandbox never tells: what would look there has to be told again."""
    converter = data_converter([NEW])
    visit = WorkflowSerializationContext(namespace="default", workflow_id="booking-1")
    assert converter.with_context(visit) is converter
    assert converter.external_storage is None
