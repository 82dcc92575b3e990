import { SNSClient } from "@aws-sdk/client-sns";
import { assignments, subsegment, traced } from "../services.js";
import { askForPhoto } from "../workflow.js";

const sns = process.env.SEND_TEXT_MESSAGES === "true" ? traced(new SNSClient({})) : undefined;

export const handler = askForPhoto({ assignments, sns, subsegment });
