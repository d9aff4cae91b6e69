// What is heard: play, recognize, tones, cancel, media streaming, transcription.
import { same } from "./checks.mjs";
import { BROKEN, FRIEND, PRESSES, PROMPT, SPEAKS } from "./world.mjs";

/** Prompts of every kind, one that is broken, one that is cancelled. */
export async function playing(world) {
  const { inbox } = world;
  const made = await world.connected(FRIEND, "playing");
  const { call } = made;
  const media = made.connection.getCallMedia();
  const seen = new Set();
  /** The event of this operation. 1.0.0 forgets to send the context of a play: there the next one is meant. */
  const told = async (kind, context) => {
    const taken = await inbox.wait(kind, world.newest ? { call, context } : { call, where: (_, it) => !seen.has(it) });
    seen.add(taken);
    return taken;
  };
  const completed = async (context) => {
    const done = await told("PlayCompleted", context);
    if (world.newest) await inbox.wait("PlayStarted", { call, context });
    return done;
  };
  await world.check("play to all", async () => {
    await media.playToAll([PROMPT], { operationContext: "play-all" });
    await completed("play-all");
  });
  await world.check("play to one", async () => {
    await media.play([PROMPT], [FRIEND], { operationContext: "play-one" });
    await completed("play-one");
  });
  await world.check("PlayFailed, where the file is broken", async () => {
    await media.playToAll([BROKEN], { operationContext: "play-broken" });
    const { event } = await told("PlayFailed", "play-broken");
    const { subCode } = event.resultInformation;
    if (![8535, 8536].includes(subCode)) throw new Error(`sub code ${subCode} is none of a bad file`);
    if (world.newest) same(event.failedPlaySourceIndex, 0, "the source");
  });
  await world.check("cancel media", async () => {
    await media.playToAll([PROMPT], { operationContext: "play-loop", loop: true });
    if (world.newest) await inbox.wait("PlayStarted", { call, context: "play-loop" });
    await media.cancelAllOperations();
    await told("PlayCanceled", "play-loop");
  });
  if (world.newest) {
    await world.check("text and ssml, to a callback URL of their own", async () => {
      const text = { kind: "textSource", text: "Good morning to you", sourceLocale: "en-US", voiceKind: "female" };
      const ssmlText = '<speak version="1.0" xml:lang="en-US">Good evening</speak>';
      const operationCallbackUrl = `${world.callback}/prompts`;
      await media.playToAll([text, { kind: "ssmlSource", ssmlText }], {
        operationContext: "play-text",
        operationCallbackUrl,
      });
      same((await completed("play-text")).headers["hookswitch-path"], "prompts", "the path");
    });
  }
  await world.check("the call ends", () => world.ended(made));
}

/** In the words of this version: the most tones to collect have moved into the options. */
function recognizeTones(world, media, who, maxTonesToCollect, rest) {
  const options = { kind: "callMediaRecognizeDtmfOptions", playPrompt: PROMPT, ...rest };
  return world.newest
    ? media.startRecognizing(who, { maxTonesToCollect, ...options })
    : media.startRecognizing(who, maxTonesToCollect, options);
}

/** A callee who presses 1 2 3 #. */
export async function tones(world) {
  const { inbox } = world;
  const made = await world.connected(PRESSES, "tones");
  const { call } = made;
  const media = made.connection.getCallMedia();
  const dtmf = (operationContext, most, options) =>
    recognizeTones(world, media, PRESSES, most, { operationContext, ...options });
  const recognized = async (context) => {
    const { event } = await inbox.wait("RecognizeCompleted", { call, context });
    same(event.recognitionType, "dtmf", "the type");
    return event.dtmfResult.tones;
  };
  await world.check("recognize so many tones", async () => {
    await dtmf("dtmf-most", 2);
    same(await recognized("dtmf-most"), ["one", "two"], "the tones");
  });
  await world.check("recognize up to a stop tone", async () => {
    await dtmf("dtmf-stop", 10, { stopDtmfTones: ["pound"] });
    same((await recognized("dtmf-stop")).slice(0, 3), ["one", "two", "three"], "the tones");
  });
  await world.check("RecognizeCanceled", async () => {
    await dtmf("dtmf-cancel", 10, { initialSilenceTimeoutInSeconds: 120, interToneTimeoutInSeconds: 60 });
    await media.cancelAllOperations();
    await inbox.wait("RecognizeCanceled", { call, context: "dtmf-cancel" });
  });
  if (world.newest) {
    await continuous(world, media, call);
    await world.check("recognize a choice by its tone", async () => {
      const choices = [
        { label: "Yes", phrases: ["yes", "sure"], tone: "one" },
        { label: "No", phrases: ["no"], tone: "nine" },
      ];
      const options = { kind: "callMediaRecognizeChoiceOptions", choices, operationContext: "choice-tone" };
      await media.startRecognizing(PRESSES, options);
      const { event } = await inbox.wait("RecognizeCompleted", { call, context: "choice-tone" });
      same([event.recognitionType, event.choiceResult.label], ["choices", "Yes"], "the choice");
    });
  }
  await world.check("the call ends", () => world.ended(made));
}

/** Tones as they come, and tones that we send. */
async function continuous(world, media, call) {
  const { inbox } = world;
  await world.check("continuous tones", async () => {
    await media.startContinuousDtmfRecognition(PRESSES, { operationContext: "listen" });
    for (const [index, tone] of ["one", "two", "three", "pound"].entries()) {
      const where = (event) => event.sequenceId === index + 1;
      const { event } = await inbox.wait("ContinuousDtmfRecognitionToneReceived", { call, where });
      same(event.tone, tone, `tone ${index + 1}`);
    }
    await media.stopContinuousDtmfRecognition(PRESSES, { operationContext: "listen-no-more" });
    await inbox.wait("ContinuousDtmfRecognitionStopped", { call });
  });
  await world.check("send tones", async () => {
    const sent = await media.sendDtmfTones(["one", "pound"], PRESSES, { operationContext: "send" });
    same(sent.operationContext, "send", "the answer");
    await inbox.wait("SendDtmfTonesCompleted", { call, context: "send" });
  });
}

/** A callee who does nothing when asked. */
export async function silence(world) {
  const made = await world.connected(FRIEND, "silence");
  await world.check("RecognizeFailed, after the initial silence", async () => {
    const options = { initialSilenceTimeoutInSeconds: 2, operationContext: "silent" };
    await recognizeTones(world, made.connection.getCallMedia(), FRIEND, 1, options);
    const { event } = await world.inbox.wait("RecognizeFailed", { call: made.call, context: "silent" });
    same(event.resultInformation.subCode, 8510, "the sub code");
  });
  await world.check("the call ends", () => world.ended(made));
}

/** A callee who speaks. */
export async function speech(world) {
  const { inbox } = world;
  const made = await world.connected(SPEAKS, "speech");
  const { call } = made;
  const media = made.connection.getCallMedia();
  await world.check("recognize speech", async () => {
    await media.startRecognizing(SPEAKS, {
      kind: "callMediaRecognizeSpeechOptions",
      playPrompt: { kind: "textSource", text: "How may I help", voiceName: "en-US-NancyNeural" },
      speechLanguage: "en-US",
      endSilenceTimeoutInSeconds: 1,
      operationContext: "speech",
    });
    const { event } = await inbox.wait("RecognizeCompleted", { call, context: "speech" });
    same([event.recognitionType, event.speechResult.speech], ["speech", "confirm"], "the speech");
  });
  await world.check("recognize a choice by its phrase", async () => {
    const choices = [
      { label: "Confirmed", phrases: ["confirm", "first"] },
      { label: "Cancelled", phrases: ["cancel"] },
    ];
    await media.startRecognizing(SPEAKS, {
      kind: "callMediaRecognizeChoiceOptions",
      choices,
      speechLanguage: "en-US",
      operationContext: "choice",
    });
    const { event } = await inbox.wait("RecognizeCompleted", { call, context: "choice" });
    const { label, recognizedPhrase } = event.choiceResult;
    same([event.recognitionType, label, recognizedPhrase], ["choices", "Confirmed", "confirm"], "the choice");
  });
  await world.check("the call ends", () => world.ended(made));
}

/** Media streaming and transcription, as subscribed when the call was made. */
export async function streams(world) {
  const { inbox } = world;
  const made = await world.connected(FRIEND, "streams", {
    mediaStreamingOptions: {
      transportUrl: "wss://contoso.example/media",
      transportType: "websocket",
      contentType: "audio",
      audioChannelType: "mixed",
      startMediaStreaming: false,
    },
    transcriptionOptions: {
      transportUrl: "wss://contoso.example/text",
      transportType: "websocket",
      locale: "en-US",
      startTranscription: false,
    },
  });
  const { call } = made;
  const media = made.connection.getCallMedia();
  await world.check("start and stop media streaming", async () => {
    await media.startMediaStreaming({ operationContext: "media-started" });
    const started = await inbox.wait("MediaStreamingStarted", { call, context: "media-started" });
    same(started.event.mediaStreamingUpdate.mediaStreamingStatus, "mediaStreamingStarted", "the status");
    await media.stopMediaStreaming({ operationContext: "media-stopped" });
    const stopped = await inbox.wait("MediaStreamingStopped", { call, context: "media-stopped" });
    same(stopped.event.mediaStreamingUpdate.mediaStreamingStatus, "mediaStreamingStopped", "the status");
  });
  await world.check("start, update and stop transcription", async () => {
    const acts = [
      ["Started", (options) => media.startTranscription({ locale: "en-US", ...options })],
      ["Updated", (options) => media.updateTranscription("de-DE", options)],
      ["Stopped", (options) => media.stopTranscription(options)],
    ];
    for (const [what, act] of acts) {
      const context = `text-${what}`;
      await act({ operationContext: context });
      const { event } = await inbox.wait(`Transcription${what}`, { call, context });
      same(event.transcriptionUpdate.transcriptionStatus, `transcription${what}`, "the status");
    }
  });
  await world.check("the call ends", () => world.ended(made));
}
