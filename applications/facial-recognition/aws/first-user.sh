# Registers the user of INPUT by the workflow, as a request would, and waits 30 s for its end.
#   INPUT=… sh first-user.sh STATE_MACHINE REGION ALLOW_REFUSED
set -eu
execution=$(aws stepfunctions start-execution --state-machine-arn "$1" --region "$2" --input "$INPUT" --query executionArn --output text)
until=$(($(date +%s) + 30))
status=RUNNING
while [ "$status" = RUNNING ] && [ "$(date +%s)" -lt "$until" ]; do
    sleep 1
    status=$(aws stepfunctions describe-execution --execution-arn "$execution" --region "$2" --query status --output text)
done
echo "the registration of user-1: $status"
[ "$status" = SUCCEEDED ] || [ "$3" = true ] || {
    echo "Rekognition may not take a drawing for a face: give photos of your own (-p photos=FOLDER), or measure refusals (-p allow_refused=true)" >&2
    exit 1
}
