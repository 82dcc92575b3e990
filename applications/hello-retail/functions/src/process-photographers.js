// Keeps the list of photographers. Who registers again changes name and number, and keeps the assignment there may be.
import { UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { checkEvent } from "./events.js";
import { eachRecord } from "./records.js";

export const processPhotographers = ({ documents, tables, subsegment, now = () => new Date() }) =>
  eachRecord({ parse: checkEvent, name: "photographers", subsegment }, async ({ type, data }) => {
    if (type !== "photographer/register") throw new Error(`${type} is not for photographers`);
    await documents.send(
      new UpdateCommand({
        TableName: tables.photographers,
        Key: { id: data.id },
        UpdateExpression:
          "SET #name = :name, #phone = :phone, #state = if_not_exists(#state, :available), #since = if_not_exists(#since, :now)",
        ExpressionAttributeNames: { "#name": "name", "#phone": "phone", "#state": "state", "#since": "since" },
        ExpressionAttributeValues: { ":name": data.name, ":phone": data.phone, ":available": "available", ":now": now().toISOString() },
      }),
    );
  });
