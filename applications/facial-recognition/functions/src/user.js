// Answers who is registered.
import { GetCommand } from "@aws-sdk/lib-dynamodb";

const answer = (statusCode, body) => ({ statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export const user =
  ({ documents, table, subsegment }) =>
  async ({ pathParameters }) => {
    const userId = pathParameters?.userId ?? "";
    if (!/^[\w-]{1,64}$/.test(userId)) return answer(400, { message: "a user id has 1 to 64 letters, digits, - or _" });
    const { Item: item } = await subsegment("read", { user_id: userId }, () =>
      documents.send(new GetCommand({ TableName: table, Key: { userId } })),
    );
    if (!item) return answer(404, { message: `no user ${userId} is registered` });
    const { photo, thumbnail, confidence, registration, registeredAt } = item;
    return answer(200, { userId, photo, thumbnail, confidence, registration, registeredAt });
  };
