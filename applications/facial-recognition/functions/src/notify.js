// Tells of a registration that failed, in words: to whoever has subscribed to the topic.
import { PublishCommand } from "@aws-sdk/client-sns";

const WORDS = {
  PhotoNotUsable: "Your photo cannot be used",
  FaceAlreadyRegistered: "You seem to be registered already",
};

/** Lambda's cause is a JSON document, other services' is a text. */
export function reasonOf({ Error: name, Cause: cause = "" }) {
  try {
    return JSON.parse(cause).errorMessage ?? name;
  } catch {
    return cause || name;
  }
}

export const notify =
  ({ sns, topicArn, subsegment }) =>
  async ({ userId, photo, registration, failure }) => {
    const kind = Object.hasOwn(WORDS, failure.Error) ? failure.Error : "Failed";
    // What went wrong inside is for the log, not for the user.
    const message = kind === "Failed" ? "Your registration failed, please try again later." : `${WORDS[kind]}: ${reasonOf(failure)}.`;
    console.log(
      JSON.stringify({ message: "a registration failed", userId, photo, registration, error: failure.Error, reason: reasonOf(failure) }),
    );
    await subsegment("notify", { failure: kind }, () =>
      sns.send(
        new PublishCommand({
          TopicArn: topicArn,
          Subject: "Registration",
          Message: JSON.stringify({ userId, registration, kind, message }),
          MessageAttributes: { kind: { DataType: "String", StringValue: kind } },
        }),
      ),
    );
    return { kind, message };
  };
