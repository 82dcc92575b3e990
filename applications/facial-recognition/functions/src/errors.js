// Failures that the state machine tells apart by their name.

const named = (name) =>
  class extends Error {
    constructor(message) {
      super(message);
      this.name = name;
    }
  };

/** The photo shows no face that can be registered, or is no photo. Trying again does not help. */
export const PhotoNotUsable = named("PhotoNotUsable");

/** The face is that of another user. */
export const FaceAlreadyRegistered = named("FaceAlreadyRegistered");

const UNUSABLE = new Set(["ImageTooLargeException", "InvalidImageFormatException", "InvalidS3ObjectException"]);

/** Asks Rekognition; its complaints about the photo become `PhotoNotUsable`. */
export async function aboutPhoto(ask) {
  try {
    return await ask();
  } catch (error) {
    const noFace = error.name === "InvalidParameterException" && /no faces/i.test(error.message);
    if (UNUSABLE.has(error.name) || noFace) throw new PhotoNotUsable(error.message);
    throw error;
  }
}
