/** Runs `work` and records nothing. */
export const traced = async (name, work) => work();
