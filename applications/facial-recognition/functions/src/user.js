// Answers who is registered: one user, or a page of them.
import { GetCommand, ScanCommand } from "@aws-sdk/lib-dynamodb";

const LARGEST_PAGE = 50;
const USER_ID = /^[\w-]{1,64}$/;

const answer = (statusCode, body) => ({ statusCode, headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** Without the id of the face, by which it could be looked for. */
const shown = ({ userId, photo, thumbnail, confidence, registration, registeredAt }) => ({
  userId,
  photo,
  thumbnail,
  confidence,
  registration,
  registeredAt,
});

export const user =
  ({ documents, table, subsegment }) =>
  async ({ pathParameters }) => {
    const userId = pathParameters?.userId ?? "";
    if (!USER_ID.test(userId)) return answer(400, { message: "a user id has 1 to 64 letters, digits, - or _" });
    const { Item: item } = await subsegment("read", { user_id: userId }, () =>
      documents.send(new GetCommand({ TableName: table, Key: { userId } })),
    );
    if (!item) return answer(404, { message: `no user ${userId} is registered` });
    return answer(200, shown(item));
  };

/** In no order, as the table has none. */
export const users =
  ({ documents, table, subsegment }) =>
  async ({ queryStringParameters }) => {
    const after = queryStringParameters?.after;
    if (after !== undefined && !USER_ID.test(after)) return answer(400, { message: "after must be the `next` of an earlier answer" });
    const { Items: items, LastEvaluatedKey: last } = await subsegment("list", {}, () =>
      documents.send(new ScanCommand({ TableName: table, Limit: LARGEST_PAGE, ExclusiveStartKey: after && { userId: after } })),
    );
    return answer(200, { users: items.map(shown), next: last?.userId ?? null });
  };
