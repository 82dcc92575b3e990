import { SFNClient } from "@aws-sdk/client-sfn";
import { requestPhotos } from "../request-photos.js";
import { subsegment, traced } from "../tracing.js";

export const handler = requestPhotos({ states: traced(new SFNClient({})), workflow: process.env.WORKFLOW, subsegment });
