// A second, independent client: Microsoft's JavaScript library over its own AMQP stack, against the same broker.
// Usage: node second_client.mjs <connection string>; the entities are made by whoever calls. Exit code 0 when all held.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const load = createRequire(new URL("../../../local/package.json", import.meta.url));
const { ServiceBusClient } = load("@azure/service-bus");
const client = new ServiceBusClient(process.argv[2], { retryOptions: { maxRetries: 0, timeoutInMs: 10_000 } });

const scenarios = {
  async "a batch is received in order and completed"() {
    const sender = client.createSender("js-plain");
    const batch = await sender.createMessageBatch();
    for (const number of [1, 2, 3]) assert.ok(batch.tryAddMessage({ body: { number }, messageId: `m${number}` }));
    await sender.sendMessages(batch);
    await sender.sendMessages({ body: "alone", applicationProperties: { colour: "red", count: 7 } });
    const receiver = client.createReceiver("js-plain");
    const messages = await receiver.receiveMessages(4, { maxWaitTimeInMs: 3000 });
    assert.deepEqual(messages.map((message) => message.body.number ?? message.body), [1, 2, 3, "alone"]);
    assert.deepEqual(messages[3].applicationProperties, { colour: "red", count: 7 });
    assert.equal(messages[0].sequenceNumber.toNumber(), 1);
    for (const message of messages) await receiver.completeMessage(message);
    assert.deepEqual(await receiver.peekMessages(10), []);
    await receiver.close();
    await sender.close();
  },

  async "an abandoned message comes back, a dead-lettered one says why"() {
    const sender = client.createSender("js-settle");
    await sender.sendMessages([{ body: "again" }, { body: "bad" }]);
    const receiver = client.createReceiver("js-settle");
    const [again, bad] = await receiver.receiveMessages(2, { maxWaitTimeInMs: 3000 });
    await receiver.renewMessageLock(again);
    await receiver.abandonMessage(again, { tried: "once" });
    await receiver.deadLetterMessage(bad, { deadLetterReason: "wrong", deadLetterErrorDescription: "very" });
    const [second] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 3000 });
    assert.equal(second.body, "again");
    assert.equal(second.deliveryCount, 1);
    assert.equal(second.applicationProperties.tried, "once");
    await receiver.completeMessage(second);
    const dead = client.createReceiver("js-settle", { subQueueType: "deadLetter", receiveMode: "receiveAndDelete" });
    const [buried] = await dead.receiveMessages(1, { maxWaitTimeInMs: 3000 });
    assert.equal(buried.deadLetterReason, "wrong");
    assert.equal(buried.deadLetterErrorDescription, "very");
    await Promise.all([dead.close(), receiver.close(), sender.close()]);
  },

  async "a session is accepted by name and as the next one, with its state"() {
    const sender = client.createSender("js-sessions");
    await sender.sendMessages(["a", "b", "a", "b"].map((sessionId, body) => ({ body, sessionId })));
    const next = await client.acceptNextSession("js-sessions");
    assert.equal(next.sessionId, "a");
    await assert.rejects(client.acceptSession("js-sessions", "a"), { code: "SessionCannotBeLocked" });
    const named = await client.acceptSession("js-sessions", "b");
    const messages = await named.receiveMessages(2, { maxWaitTimeInMs: 3000 });
    assert.deepEqual(messages.map((message) => message.body), [1, 3]);
    await named.setSessionState("halfway");
    assert.equal(String(await named.getSessionState()), "halfway");
    assert.ok((await named.renewSessionLock()) > new Date());
    for (const message of messages) await named.completeMessage(message);
    await Promise.all([next.close(), named.close(), sender.close()]);
  },

  async "a processor takes a subscription's messages and stops"() {
    const sender = client.createSender("js-topic");
    const receiver = client.createReceiver("js-topic", "sub1");
    const seen = [];
    const done = new Promise((resolve, reject) => {
      receiver.subscribe({
        async processMessage(message) {
          seen.push(message.body);
          if (seen.length === 5) resolve();
        },
        async processError({ error }) {
          reject(error);
        },
      });
    });
    await sender.sendMessages([0, 1, 2, 3, 4].map((body) => ({ body })));
    await done;
    assert.deepEqual(seen, [0, 1, 2, 3, 4]);
    await receiver.close();
    await sender.close();
  },

  async "errors have the codes of the service"() {
    const missing = client.createSender("js-missing");
    await assert.rejects(missing.sendMessages({ body: 1 }), { code: "MessagingEntityNotFound" });
    const sender = client.createSender("js-plain");
    await assert.rejects(sender.sendMessages({ body: "x".repeat(300_000) }), { code: "MessageSizeExceeded" });
    const plain = client.createReceiver("js-sessions");
    await assert.rejects(plain.receiveMessages(1), /non-sessionful message receiver/);
    await Promise.all([missing.close(), sender.close(), plain.close()]);
  },
};

for (const [sentence, scenario] of Object.entries(scenarios)) {
  const started = Date.now();
  await scenario();
  console.log(`ok - ${sentence} (${Date.now() - started} ms)`);
}
await client.close();
