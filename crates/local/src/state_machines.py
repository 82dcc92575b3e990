"""Step Functions on the local target: moto's interpreter, made to call the application's own functions and to record traces.

The segments have the shapes of X-Ray: one for each execution; in it a subsegment for each state, one for each branch or iteration between
a state and those within it, and one for each call of a service.
"""

import contextvars
import datetime
import functools
import http.client
import json
import re
import secrets
import socket
import sys
import threading
import time
import uuid

#: The span in whose name a thread works: those that it starts work in the same.
current = contextvars.ContextVar("span", default=None)
#: Executions of a state machine that are remembered; of those beyond, the oldest that have ended are forgotten.
REMEMBERED = 10_000
#: How long an express execution may take.
EXPRESS_SECONDS = 300
#: What Step Functions takes for the name of an execution.
NAME = re.compile(r"""[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}""")
#: What fits into one datagram with certainty.
DATAGRAM = 60_000


class Recorder:
    """Sends documents to the runtime, as X-Ray's SDKs do."""

    def __init__(self, daemon, xray):
        host, port = daemon.rsplit(":", 1)
        self.daemon, self.xray = (host, int(port)), xray
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, document):
        text = json.dumps(document)
        if len(text) <= DATAGRAM:
            self.socket.sendto(b'{"format": "json", "version": 1}\n' + text.encode(), self.daemon)
            return
        connection = http.client.HTTPConnection(self.xray, timeout=10)
        connection.request("POST", "/TraceSegments", json.dumps({"TraceSegmentDocuments": [text]}))
        connection.getresponse().read()
        connection.close()


recorder = None


class Span:
    """A segment (without a parent of ours) or a subsegment; within `with`, the current one."""

    def __init__(self, name, trace, parent, namespace=None, **fields):
        self.name, self.trace, self.parent, self.namespace, self.fields = name, trace, parent, namespace, fields
        self.id, self.start = secrets.token_hex(8), time.time()
        self.failure, self.kind = None, {"fault": True}

    @classmethod
    def below(cls, parent, name, namespace=None, **fields):
        return cls(name, parent.trace, parent.id, namespace, type="subsegment", **fields)

    def header(self):
        return f"Root={self.trace[0]};Parent={self.id};Sampled={int(self.trace[1])}"

    def record(self, **more):
        if not self.trace[1]:
            return
        document = {"id": self.id, "name": self.name, "trace_id": self.trace[0], "start_time": self.start, **self.fields, **more}
        if self.parent:
            document["parent_id"] = self.parent
        if self.namespace:
            document["namespace"] = self.namespace
        if self.failure:
            document.update(self.kind)
            error, cause = self.failure
            document["cause"] = {"exceptions": [{"id": secrets.token_hex(8), "type": error, "message": cause[:1000]}]}
        recorder.send(document)

    def refused(self, error):
        """By the status, as X-Ray tells the faults of a service from the errors of its callers."""
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        self.fields["http"] = {"response": {"status": status}}
        self.failure = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if status < 500:
            self.kind = {"error": True, "throttle": True} if status == 429 else {"error": True}

    def __enter__(self):
        self.token = current.set(self)
        return self

    def __exit__(self, kind, error, traceback):
        current.reset(self.token)
        if error is not None and self.failure is None:
            self.failure = describe(error)
        self.record(end_time=time.time())


def describe(error):
    details = getattr(getattr(error, "failure_event", None), "event_details", None) or {}
    for detail in details.values():
        return str(detail.get("error") or "States.Runtime"), str(detail.get("cause") or "")
    return type(error).__name__, str(error)


def trace_of(header):
    """Root, whether it is recorded, and the span that calls; a new trace where the header names none."""
    parts = dict(part.strip().split("=", 1) for part in (header or "").split(";") if "=" in part)
    if "Root" in parts:
        return (parts["Root"], parts.get("Sampled") != "0"), parts.get("Parent")
    return (f"1-{int(time.time()):08x}-{secrets.token_hex(12)}", True), None


def instant(date):
    """As Step Functions writes it."""
    if isinstance(date, str):
        return date
    return date.astimezone(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def wrap(owner, name, make):
    setattr(owner, name, functools.wraps(getattr(owner, name))(make(getattr(owner, name))))


def threads_inherit_context():
    """As they do from Python 3.14 on: the interpreter starts a thread for each state, branch and iteration."""

    def start(original):
        def start(self):
            self._context = contextvars.copy_context()
            original(self)
        return start

    def run(original):
        def run(self):
            context = getattr(self, "_context", None)
            return context.run(original, self) if context else original(self)
        return run

    wrap(threading.Thread, "start", start)
    wrap(threading.Thread, "run", run)


def record_executions():
    from moto.stepfunctions.parser.api import ExecutionStatus
    from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.iteration_worker import IterationWorker
    from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branch_worker import BranchWorker
    from moto.stepfunctions.parser.asl.component.state.exec.state_parallel.branches_decl import BranchesDecl
    from moto.stepfunctions.parser.asl.component.state.state import CommonStateField
    from moto.stepfunctions.parser.backend.execution import Execution
    from moto.stepfunctions.parser.backend.execution_worker import ExecutionWorker
    from moto.stepfunctions.parser.utils import TMP_THREADS

    def start(original):
        def start(self):
            trace, parent = trace_of(self.trace_header)
            self.span = Span(
                self.state_machine.name, trace, parent, origin="AWS::StepFunctions::StateMachine",
                aws={"account_id": self.account_id, "resource_arn": self.exec_arn}, resource_arn=self.state_machine.arn,
            )
            self.ended = threading.Event()
            # From now on there is something to wait for.
            self.span.record(in_progress=True)
            original(self)
        return start

    def logic(original):
        def logic(self):
            execution = self._execution_communication.execution
            try:
                with execution.span as span:
                    original(self)
                    if execution.exec_status != ExecutionStatus.SUCCEEDED:
                        span.failure = execution.error or execution.exec_status.value, execution.cause or ""
            finally:
                execution.ended.set()
            TMP_THREADS.clear()
        return logic

    def state(original):
        def state(self, env):
            # The interpreter goes on counting where a state is entered once more: its retries would run out.
            for key in [key for key in env.heap if key.startswith(("MaxAttemptsDecl-", "BackoffRateDecl-"))]:
                del env.heap[key]
            parent = current.get()
            if parent is None:
                return original(self, env)
            with Span.below(parent, self.name):
                return original(self, env)
        return state

    def environment(original):
        def environment(self):
            env = original(self)
            execution = env.states.context_object.context_object_data["Execution"]
            # A date would neither fit into a function's event nor into the output.
            execution["StartTime"] = instant(execution["StartTime"])
            return env
        return environment

    def branches(original):
        def branches(self, env):
            numbers.numbers = iter(range(len(self.programs)))
            return original(self, env)
        return branches

    def branch(original):
        def branch(self, *arguments, **named):
            original(self, *arguments, **named)
            self.number = next(getattr(numbers, "numbers", iter(())), 0)
        return branch

    def routine(original):
        def routine(self):
            parent = current.get()
            if parent is None:
                return original(self)
            with Span.below(parent, f"Branch {self.number}") as span:
                original(self)
                error = getattr(self.env.program_state(), "error", None)
                if error:
                    span.failure = str(error.get("error") or ""), str(error.get("cause") or "")
        return routine

    def iteration(original):
        def iteration(self, env, job):
            parent = current.get()
            if parent is None:
                return original(self, env, job)
            with Span.below(parent, f"Iteration {job.job_index}") as span:
                original(self, env, job)
                if isinstance(job.job_output, Exception):
                    span.failure = describe(job.job_output)
        return iteration

    numbers = threading.local()
    wrap(Execution, "start", start)
    wrap(ExecutionWorker, "_execution_logic", logic)
    wrap(ExecutionWorker, "_get_evaluation_environment", environment)
    wrap(CommonStateField, "_eval_body", state)
    wrap(BranchesDecl, "_eval_body", branches)
    wrap(BranchWorker, "__init__", branch)
    wrap(BranchWorker, "_thread_routine", routine)
    wrap(IterationWorker, "_eval_job", iteration)


def call_the_application(endpoint):
    """The interpreter makes a client for each call, for an address that nobody listens on."""
    import boto3
    import moto.stepfunctions.parser.asl.utils.boto_client as module
    from botocore.config import Config
    from botocore.exceptions import ClientError

    making = threading.Lock()

    def add_trace(request, **_):
        span = current.get()
        if span is not None:
            request.headers["X-Amzn-Trace-Id"] = span.header()

    def traced(client, service):
        call = client._make_api_call
        # As X-Ray calls them.
        title = {"lambda": "Lambda", "dynamodb": "DynamoDB", "sqs": "SQS", "sns": "SNS", "s3": "S3", "stepfunctions": "STEPFUNCTIONS"}.get(service, service)

        def make_api_call(operation, parameters):
            parent = current.get()
            if parent is None or parent.namespace == "aws":
                return call(operation, parameters)
            with Span.below(parent, title, "aws", aws={"operation": operation}) as span:
                try:
                    answer = call(operation, parameters)
                except ClientError as error:
                    # Causes name it.
                    error.response["ResponseMetadata"].setdefault("RequestId", str(uuid.uuid4()))
                    span.refused(error)
                    raise
                span.fields["http"] = {"response": {"status": answer["ResponseMetadata"]["HTTPStatusCode"]}}
                if answer.get("FunctionError"):
                    span.failure = answer["FunctionError"], "the function failed"
                return answer

        client._make_api_call = make_api_call
        client.meta.events.register("before-sign", add_trace)
        return client

    @functools.lru_cache(maxsize=None)
    def kept(region, service):
        # No more connections at once than the application has functions at once, by far.
        config = Config(
            parameter_validation=False, retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=1000,
            max_pool_connections=200,
        )
        client = boto3.client(
            service, region_name=region, endpoint_url=endpoint, aws_access_key_id="local", aws_secret_access_key="local",
            config=config,
        )
        return traced(client, service)

    def boto_client_for(region, service, state_credentials=None):
        with making:
            return kept(region, service)

    original = module.boto_client_for
    for other in list(sys.modules.values()):
        if getattr(other, "boto_client_for", None) is original:
            other.boto_client_for = boto_client_for


def name_refusals():
    """A function that is named by its ARN and cannot be called: retriers ask for such errors by name, the interpreter says `Exception`."""
    from botocore.exceptions import ClientError
    from moto.stepfunctions.parser.api import HistoryEventType, LambdaFunctionFailedEventDetails
    from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
    from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEvent
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_lambda import StateTaskServiceLambda
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.state_task_lambda import StateTaskLambda
    from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

    def from_error(original):
        def from_error(self, env, ex):
            if not isinstance(ex, ClientError):
                return original(self, env, ex)
            error, cause = StateTaskServiceLambda._error_cause_from_client_error(ex)
            details = LambdaFunctionFailedEventDetails(error=error, cause=cause)
            return FailureEvent(
                env=env, error_name=CustomErrorName(error), event_type=HistoryEventType.LambdaFunctionFailed,
                event_details=EventDetails(lambdaFunctionFailedEventDetails=details),
            )
        return from_error

    wrap(StateTaskLambda, "_from_error", from_error)


def take_what_callers_say():
    """moto leaves out the trace and the kind of a state machine, takes executions without a name for one and the same, checks neither
    name nor input, and does not know executions whose end the caller waits for."""
    from moto.core.exceptions import AWSError
    from moto.core.responses import ActionResult
    from moto.stepfunctions.exceptions import InvalidExecutionInput, InvalidName
    from moto.stepfunctions.models import StateMachine
    from moto.stepfunctions.responses import StepFunctionResponse

    class StateMachineTypeNotSupported(AWSError):
        TYPE = "StateMachineTypeNotSupported"
        STATUS = 400

    def create_state_machine(original):
        def create_state_machine(self):
            answer = original(self)
            machine = self.stepfunction_backend.describe_state_machine(answer.result["stateMachineArn"])
            machine.type = machine.sm_type = self._get_param("type") or "STANDARD"
            return answer
        return create_state_machine

    def same_name(original):
        def same_name(self, *arguments):
            # Express executions may be called alike.
            return None if self.sm_type == "EXPRESS" else original(self, *arguments)
        return same_name

    def start(self):
        name, given = self._get_param("name") or str(uuid.uuid4()), self._get_param("input", if_none="{}")
        if not NAME.fullmatch(name):
            raise InvalidName(f"Invalid Name: '{name}'")
        try:
            json.loads(given)
        except ValueError as error:
            raise InvalidExecutionInput(f"Invalid State Machine Execution Input: '{error}'") from None
        execution = self.stepfunction_backend.start_execution(
            self._get_param("stateMachineArn"), name, given,
            self._get_param("traceHeader") or self.headers.get("X-Amzn-Trace-Id"),
        )
        forget(self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn")))
        return execution

    def start_execution(self):
        execution = start(self)
        return ActionResult({"executionArn": execution.execution_arn, "startDate": execution.start_date})

    def start_sync_execution(self):
        if self.stepfunction_backend.describe_state_machine(self._get_param("stateMachineArn")).sm_type != "EXPRESS":
            raise StateMachineTypeNotSupported("This operation is not supported by this type of state machine")
        execution = start(self)
        timely = execution.ended.wait(EXPRESS_SECONDS)
        if not timely:
            execution.stop(datetime.datetime.now(tz=datetime.timezone.utc), None, None)
            execution.ended.wait(10)
        answer = dict(execution.to_describe_output())
        if not timely:
            answer |= {"status": "TIMED_OUT", "error": "States.Timeout"}
        elif answer["status"] == "ABORTED":
            answer["status"] = "FAILED"
        return ActionResult(answer)

    wrap(StateMachine, "_handle_name_input_idempotency", same_name)
    wrap(StepFunctionResponse, "create_state_machine", create_state_machine)
    StepFunctionResponse.start_execution = start_execution
    StepFunctionResponse.start_sync_execution = start_sync_execution


def executions_of_executions():
    """Their parameters and answers begin with capitals in a task, which the API's own do not; moto leaves them as they are."""
    import moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback as callback
    from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_sfn import StateTaskServiceSfn

    def parameters(original):
        def parameters(self, given, *arguments, **named):
            original(self, given, *arguments, **named)
            for name in list(given):
                given[name[0].lower() + name[1:]] = given.pop(name)
        return parameters

    def response(original):
        def response(self, response, *arguments, **named):
            original(self, response, *arguments, **named)
            for name in list(response):
                value = response.pop(name)
                if isinstance(value, datetime.datetime):
                    value = int(value.timestamp() * 1000)
                elif name.endswith("Details"):
                    value = {key[0].upper() + key[1:]: of for key, of in value.items()}
                response[name[0].upper() + name[1:]] = value
        return response

    def execution(original):
        def execution(self, env):
            parent = current.get()
            if parent is None or self.resource.condition not in ("sync", "sync:2"):
                return original(self, env)
            # One call, which ends with what it waits for: not one for each look at it.
            with Span.below(parent, "STEPFUNCTIONS", "aws", aws={"operation": "StartExecution"}):
                return original(self, env)
        return execution

    wrap(StateTaskServiceSfn, "_eval_execution", execution)
    wrap(StateTaskServiceSfn, "_normalise_parameters", parameters)
    wrap(StateTaskServiceSfn, "_normalise_response", response)
    # Seconds between two looks at an execution that another one waits for.
    callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = 0.05


def forget(machine):
    while len(machine.executions) > REMEMBERED and machine.executions[0].status != "RUNNING":
        machine.executions.pop(0)


def be_quick():
    """An execution copied all earlier ones, and read the definition anew."""
    import copy

    from moto.stepfunctions.models import StateMachine
    from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser

    def shallow(self, memo):
        clone = copy.copy(self)
        clone.executions = []
        return clone

    StateMachine.__deepcopy__ = shallow
    AmazonStateLanguageParser.parse = staticmethod(functools.lru_cache(maxsize=256)(AmazonStateLanguageParser.parse))


def install(endpoint, daemon, xray):
    global recorder
    from moto.core.config import default_user_config

    default_user_config["stepfunctions"]["execute_state_machine"] = True
    recorder = Recorder(daemon, xray)
    threads_inherit_context()
    import moto.stepfunctions.parser.models  # noqa: F401: with all that it loads

    record_executions()
    call_the_application(endpoint)
    name_refusals()
    take_what_callers_say()
    executions_of_executions()
    be_quick()
