// The steps of the workflow that gets a photo of a product.
import { PublishCommand } from "@aws-sdk/client-sns";

export const assign =
  ({ assignments, subsegment }) =>
  async ({ product, execution }) => {
    const { id, name, phone } = await subsegment("assign", { product }, () => assignments.assign(product, execution));
    return { id, name, phone };
  };

/** Tells the photographer, and leaves the token by which the workflow is woken. `sns` is left out where no messages are to be sent. */
export const askForPhoto =
  ({ assignments, sns, subsegment }) =>
  async ({ product, execution, photographer, token }) => {
    // First the token: an answer must not come before it can be received.
    await assignments.await(photographer.id, { product, execution, token });
    const message = `Hello ${photographer.name}, please take a photo of product ${product}.`;
    if (!sns) {
      console.log(JSON.stringify({ message: "no text message is sent", to: photographer.id, text: message }));
      return { sent: false };
    }
    await subsegment("text-message", { photographer: photographer.id }, () =>
      sns.send(
        new PublishCommand({
          PhoneNumber: photographer.phone,
          Message: message,
          MessageAttributes: { "AWS.SNS.SMS.SMSType": { DataType: "String", StringValue: "Transactional" } },
        }),
      ),
    );
    return { sent: true };
  };

export const acceptPhoto =
  ({ assignments, subsegment }) =>
  async ({ product, execution, photographer, photo }) => {
    const first = await subsegment("accept", { product }, () => assignments.accept(photographer.id, { product, execution }, photo.key));
    return { product, image: photo.key, first };
  };

export const release =
  ({ assignments, subsegment }) =>
  async ({ product, execution, photographer }) => {
    await subsegment("release", { product }, () => assignments.release(photographer.id, { product, execution }));
    return {};
  };
